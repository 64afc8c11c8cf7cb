"""Published runs in an object store; needs the package obstore."""
