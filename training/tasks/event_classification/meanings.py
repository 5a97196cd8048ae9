"""What the numbers of an evaluation say; the report shows them."""

MEANINGS = {
    "events": "how many were measured",
    "loss": "mean −ln of the probability of the true class",
    "accuracy": "share of events whose most probable class is the true one",
    "auc": "area under the ROC curve; of more than two classes the mean of each against the others",
    "auc_error": "its error, by bootstrap",
    "rejection_at_30%": "one over the share of background that passes where 30 % of the signal do",
    "rejection_at_50%": "the same where 50 % pass",
    "auc_of_trees_on_objects": "of boosted trees on the objects' kinematics and types",
    "auc_of_trees_on_masses": "of boosted trees on masses of combinations",
    "auc_of_trees_on_objects_and_masses": "of boosted trees on both",
}
