"""What tasks that read the product `jets` share: columns, features, selection, batches."""
