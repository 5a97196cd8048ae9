"""What the numbers of an evaluation say; the report shows them."""

MEANINGS = {
    "jets": "how many were measured",
    "loss": "mean −ln of the probability of the true label",
    "accuracy": "share of jets whose most probable label is the true one",
    "accuracy_qcd_merged": "the same with all QCD labels taken as one",
    "accuracy_of_groups": "the same by groups of like labels",
    "auc": "area under the ROC curve of a class against all others, mean over classes",
    "auc_resonance_vs_qcd": "area under the ROC curve of all resonances against QCD",
    "auc_X_bb_vs_qcd": "of X → bb against QCD, by P(bb) / (P(bb) + P(QCD))",
    "auc_X_cc_vs_qcd": "of X → cc against QCD, likewise",
    "auc_X_YY_bbbb_vs_qcd": "of X → YY → bbbb against QCD, likewise",
    "calibration_error": "mean distance of accuracy from the probability that is given",
}
