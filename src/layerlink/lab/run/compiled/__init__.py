"""The models of a training as programs of torch's compiler."""
