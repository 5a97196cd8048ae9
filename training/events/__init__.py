"""What tasks on event objects share: reader, features, changes that keep the physics."""
