"""The page of `jaxmed label` in a real browser: keys, slices, a reload, a killed program."""

from __future__ import annotations

import csv
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
DRIVER = shutil.which("chromedriver")
CLASSES = ("benign", "malignant", "</script>")


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A browser without a window."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    if BROWSER is None or DRIVER is None:
        pytest.skip("there is no Chromium with its driver (Debian: chromium, chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    profile = tmp_path_factory.mktemp("profile")
    # Without a sandbox, for it refuses to run as root; it opens nothing but our own page.
    for flag in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu",
                 "--window-size=1000,800", f"--user-data-dir={profile}"):  # fmt: skip
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(executable_path=DRIVER)
    browser = webdriver.Chrome(options=options, service=service)
    yield browser
    browser.quit()


class Program:
    """`jaxmed label` as a process of its own, and its page in the browser."""

    def __init__(self, page, folder: Path, *more: str):
        command = [sys.executable, "-m", "jaxmed", "label", *more, "-o", str(folder / "labels.csv"),
                   "--no-browser", "--classes", *CLASSES]  # fmt: skip
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )  # fmt: skip
        told = ""
        for line in self.process.stdout:
            told += line
            if found := re.search(r"http://127\.0\.0\.1:\d+/\S+", line):
                break
        else:
            raise AssertionError(told)
        self.page, self.table = page, folder / "labels.csv"
        page.get(found[0])
        self.wait("labelled")

    def wait(self, words: str, where: str = "count") -> str:
        """Wait until a text of the page holds these words."""
        from selenium.webdriver.support.ui import WebDriverWait

        find = lambda page: page.find_element("id", where).text  # noqa: E731
        WebDriverWait(self.page, 20).until(lambda page: words in find(page), f"no {words!r}")
        return find(self.page)

    def press(self, key: str, count: str) -> None:
        """Press a key, and wait until so many are labelled."""
        self.page.find_element("tag name", "body").send_keys(key)
        self.wait(count)

    def seen(self) -> np.ndarray:
        """The pixels of the image, once it has been loaded: (height, width)."""
        from selenium.webdriver.support.ui import WebDriverWait

        script = """
            const i = document.getElementById("image");
            if (!i.complete || !i.naturalWidth) return null;
            const c = document.createElement("canvas");
            [c.width, c.height] = [i.naturalWidth, i.naturalHeight];
            const to = c.getContext("2d");
            to.drawImage(i, 0, 0);
            return [c.height, c.width, ...to.getImageData(0, 0, c.width, c.height).data];
        """
        high, wide, *data = WebDriverWait(self.page, 20).until(lambda p: p.execute_script(script))
        return np.array(data, np.uint8).reshape(high, wide, 4)[..., 0]

    def labels(self) -> dict[str, str]:
        with self.table.open(newline="", encoding="utf-8") as file:
            return {row["case"]: row["label"] for row in csv.DictReader(file)}

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def pictures(tmp_path):
    """Five pictures, as many as their grey value says."""
    folder = tmp_path / "images"
    folder.mkdir()
    for i in range(5):
        Image.fromarray(np.full((8, 12), 40 * (i + 1), np.uint8)).save(folder / f"p{i}.png")
    return folder


@pytest.mark.slow
def test_keys_label_and_a_reload_or_a_killed_program_goes_on(page, pictures, tmp_path):
    program = Program(page, tmp_path, str(pictures))
    try:
        assert program.wait("of") == "0 of 5 labelled"
        assert (program.seen() == 40).all()
        assert "p0" not in page.find_element("tag name", "body").text  # names may tell the answer
        buttons = page.find_element("id", "classes").find_elements("tag name", "button")
        assert "".join("".join(b.text.split()) for b in buttons) == "1benign2malignant3</script>"
        program.press("2", "1 of 5")
        assert program.labels() == {"p0": "malignant"}
        assert (program.seen() == 80).all()
        program.press("1", "2 of 5")
        program.press("z", "1 of 5")  # taken back
        assert program.labels() == {"p0": "malignant"}
        assert (program.seen() == 80).all()
        program.press("3", "2 of 5")
        program.press(" ", "1 skipped")
        page.refresh()
        assert program.wait("of") == "2 of 5 labelled, 1 skipped"
        assert (program.seen() == 160).all()
        program.kill()
        page.find_element("tag name", "body").send_keys("1")
        assert "all answers so far are kept" in program.wait("does not answer", "error")
        program = Program(page, tmp_path, str(pictures))
        assert program.wait("of") == "2 of 5 labelled, 1 skipped"
        assert (program.seen() == 160).all()
        program.press("1", "3 of 5")
        program.press("1", "4 of 5")
        assert program.wait("skipped", "name") == "skipped before"
        assert (program.seen() == 120).all()
        program.press("2", "5 of 5")
        assert program.wait("All images are labelled", "end")
        page.find_element("id", "finish").click()
        program.wait("has ended", "error")
        told, _ = program.process.communicate(timeout=20)
        assert program.process.returncode == 0
        assert "5 of 5 labelled" in told
        assert program.labels() == {
            "p0": "malignant", "p1": "</script>", "p3": "benign", "p4": "benign", "p2": "malignant",
        }  # fmt: skip
        wrong = [e for e in page.get_log("browser") if "ERR_CONNECTION" not in e["message"]]
        assert not wrong, wrong  # nothing that the page's own policy forbids
    finally:
        program.kill()


def test_volumes_are_looked_at_by_slices(page, tmp_path):
    folder = tmp_path / "scans"
    folder.mkdir()
    array = np.zeros((6, 4, 5), np.float32)
    array[:, :, :] = np.arange(5)
    array[0, 0] = 0  # right-anterior-superior: in the picture at the lower left
    nib.save(nib.Nifti1Image(array, np.diag([1.0, 3.0, 2.0, 1.0])), folder / "a.nii.gz")
    program = Program(page, tmp_path, str(folder))
    try:
        # Nothing here tells when a slice has come but its pixels.
        def at(slice_):
            assert program.wait("/", "at") == f"{slice_ + 1} / 5"
            grey = round(255 * slice_ / 4)
            for _ in range(200):
                seen = program.seen()
                if abs(int(seen[0, 0]) - grey) < 3:
                    break
            assert seen.shape == (4, 6)
            assert abs(int(seen[0, 0]) - grey) < 3
            assert seen[-1, 0] == 0

        at(2)
        page.find_element("tag name", "body").send_keys("\ue013")  # arrow up
        at(3)
        page.find_element("tag name", "body").send_keys("\ue015")  # arrow down
        page.find_element("tag name", "body").send_keys("\ue015")
        at(1)
        size = page.find_element("id", "image").size
        assert size["width"] / size["height"] == pytest.approx(6 * 1 / (4 * 3), rel=0.02)
        program.press("1", "1 of 1")
        assert program.labels() == {"a": "benign"}
    finally:
        program.kill()
