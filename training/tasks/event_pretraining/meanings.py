"""What the numbers of an evaluation say; the report shows them."""

MEANINGS = {
    "events": "how many were measured",
    "hidden_types": "objects whose type was hidden",
    "accuracy": "share of hidden types that are guessed",
    "accuracy_of_majority": "what guessing the most frequent type reaches",
    "accuracy_of_pt_order": "what guessing by the place in pT reaches",
    "accuracy_of_mass": "what guessing by the mass reaches",
    "accuracy_on_jets": "share of hidden jets whose kind (b or not) is guessed",
    "accuracy_on_jets_of_pt_order": "what guessing it by the place in pT reaches",
    "accuracy_on_jets_of_mass": "what guessing it by the mass reaches",
    "hidden_objects": "objects whose kinematics were hidden",
}
