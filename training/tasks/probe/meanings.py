"""What the numbers of an evaluation say; the report shows them."""

MEANINGS = {
    "jets": "how many were measured",
    "loss": "mean −ln of the probability of the true class",
    "accuracy": "share of jets whose most probable class is the true one",
    "auc": "area under the ROC curve of a class against all others, mean over classes",
    "calibration_error": "mean distance of accuracy from the probability that is given",
    "rejection_at_30%": "one over the share of other classes' jets that pass where 30 % of the "
    "class do; of more than two classes the geometric mean",
    "rejection_at_50%": "the same where 50 % pass",
}
