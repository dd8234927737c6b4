"""Notes that every export is verified on when none are given. Fictional, written for EMLB."""

from emlb_runtime.records import Note

_TEXTS = (
    "Patient developed a maculopapular rash two days after starting amoxicillin 500 mg. "
    "The drug was stopped and the rash resolved within a week.",
    "CHIEF COMPLAINT: chest pain.\r\nHPI: 67-year-old man with hypertension, on lisinopril "
    "10 mg daily, presents with 3 hours of pressure-like chest pain radiating to the left arm. "
    "Denies fever. ECG showed ST elevation in II, III, aVF. Troponin 2.4 ng/mL.\r\n",
    "CT abdomen: 2.3 cm hypodense lesion in the right hepatic lobe, no biliary dilatation. "
    "Small bilateral pleural effusions. No evidence of pulmonary embolism.",
    "MEDICATIONS\n- metformin 1000 mg PO BID\n- warfarin 5 mg PO daily, INR 3.8 (goal 2–3)\n"
    "- furosemide 40 mg IV once\nALLERGIES: penicillin (anaphylaxis), codeine (nausea)\n",
    "Severe hyponatraemia (Na⁺ 118 mmol/L) attributed to carbamazepine; switched to "
    "levetiracetam. Temp 38.5 °C. 😀",
    "Inclusion: age ≥ 18 years; HbA1c between 7.0 and 10.0%; no insulin within 3 months. "
    "Exclusion: myocardial infarction in the past 6 months; eGFR < 30 mL/min.",
)

NOTES = tuple(Note(f"builtin-{number}", text) for number, text in enumerate(_TEXTS, start=1))
