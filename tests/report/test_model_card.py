"""The model card of a run: what it knows is there, what it cannot know says so."""

from __future__ import annotations

from jaxmed import report


def test_a_card_fills_in_what_is_known_and_asks_for_the_rest():
    results = report.classification(
        [0, 1] * 20, [0.2, 0.7] * 20, title="Naevi", classes=("no", "yes"),
        splits=(report.Split("held out", 40, 12, {"no": 20, "yes": 20}),),
        flow=("40 images",), notes=("A note.",), command="jaxmed train x", seed=7,
        study={"intended_use": "triage by a nurse"},
    )  # fmt: skip
    card = report.model_card(results)
    assert card.startswith("# Naevi\n")
    assert "- Intended use: triage by a nurse" in card
    assert "- Limitations: NOT REPORTED (bias" in card
    assert "| held out | 40 | 12 | no 20, yes 20 |" in card
    auc = results.metrics["auc"]
    assert f"| auc | {auc.value:.3f} | {auc.lower:.3f} to {auc.upper:.3f} | 40 cases |" in card
    for part in ("- seed: 7", "- command: `jaxmed train x`", "- 40 images", "- A note.", "95 %"):
        assert part in card
