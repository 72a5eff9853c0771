"""What is published: wheels, source distributions and the npm package are built, looked into, installed and run."""
