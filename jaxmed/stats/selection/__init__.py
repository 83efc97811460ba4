"""Model selection: information criteria, leave-one-out, bias of the best."""
