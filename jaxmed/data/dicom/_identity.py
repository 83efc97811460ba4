"""What in DICOM files tells who was imaged: names in headers, and text in pixels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jaxmed.data._error import reading
from jaxmed.data.dicom._dataset import quiet, read_header

# The commonest of those that the Basic Application Level Confidentiality Profile removes, empties
# or replaces (PS3.15, table E.1-1): of the patient, of other people, of places, of times.
_PATIENT = (
    "PatientName", "PatientID", "IssuerOfPatientID", "OtherPatientIDs", "OtherPatientIDsSequence",
    "OtherPatientNames", "PatientBirthName", "PatientMotherBirthName", "PatientBirthDate",
    "PatientBirthTime", "PatientAddress", "PatientTelephoneNumbers", "PatientTelecomInformation",
    "CountryOfResidence", "RegionOfResidence", "MilitaryRank", "BranchOfService", "EthnicGroup",
    "Occupation", "PatientReligiousPreference", "PatientComments", "AdditionalPatientHistory",
    "MedicalRecordLocator", "PatientInsurancePlanCodeSequence", "ResponsiblePerson",
    "ResponsibleOrganization", "AdmissionID", "CurrentPatientLocation",
    "PatientInstitutionResidence", "IdentifyingComments", "ImageComments",
)  # fmt: skip
_OTHERS = (
    "ReferringPhysicianName", "ReferringPhysicianAddress", "ReferringPhysicianTelephoneNumbers",
    "ConsultingPhysicianName", "PhysiciansOfRecord", "PerformingPhysicianName",
    "NameOfPhysiciansReadingStudy", "RequestingPhysician", "RequestingService", "OperatorsName",
    "InstitutionName", "InstitutionAddress", "InstitutionalDepartmentName", "StationName",
    "DeviceSerialNumber", "AccessionNumber", "StudyID", "RequestAttributesSequence",
    "FillerOrderNumberImagingServiceRequest", "PlacerOrderNumberImagingServiceRequest",
)  # fmt: skip
_TIMES = (
    "StudyDate", "SeriesDate", "AcquisitionDate", "ContentDate", "AcquisitionDateTime",
    "StudyTime", "SeriesTime", "AcquisitionTime", "ContentTime",
)  # fmt: skip
# Replaced, not removed, by a de-identification that says that it was done.
_REPLACED = ("PatientID", "PatientName", "StudyID", *_TIMES)
_BLANK = ("", "anonymous", "anonymised", "anonymized", "anon", "none", "unknown", "removed", "na")
# Makers write the patient's name into the pictures of these.
_WRITTEN_INTO = ("US", "SC", "OT", "ES", "XC", "GM", "OP", "XA", "RF", "DOC", "IVUS")


def identifying_headers(path: Path) -> tuple[str, ...]:
    """Name the elements of a file's header that tell who was imaged, when and where.

    A file that states that the patient's identity was removed (0012,0062) may hold dates and
    numbers that replace the true ones; these are then not named.
    """
    dataset = read_header(path)
    with reading(path, "the DICOM header"), quiet():
        removed = str(dataset.get("PatientIdentityRemoved") or "").upper() == "YES"
        names = (*_PATIENT, *_OTHERS, *_TIMES)
        return tuple(
            name for name in names if _says(dataset, name) and not (removed and name in _REPLACED)
        )


def burned_in_text(path: Path) -> str:
    """Say why the pixels of a file may show text that identifies, or nothing."""
    dataset = read_header(path)
    with reading(path, "the DICOM header"), quiet():
        stated = str(dataset.get("BurnedInAnnotation") or "").upper()
        if stated == "YES":
            return "its header says that annotations are burned in"
        if stated == "NO" or not dataset.get("Rows"):
            return ""
        kind = str(dataset.get("Modality") or "")
        if kind in _WRITTEN_INTO:
            return f"a picture of {kind}, whose header does not say that no text is burned in"
        if "SCREEN SAVE" in (dataset.get("ImageType") or ()):
            return "a copy of a screen"
    return ""


def _says(dataset: Any, name: str) -> bool:
    if name not in dataset:
        return False
    element = dataset[name]
    if element.VR == "SQ":
        return len(element.value) > 0
    return str(element.value or "").replace("^", " ").strip().casefold() not in _BLANK
