"""One page of all that is watched: where it is, who may use it, who is told."""
