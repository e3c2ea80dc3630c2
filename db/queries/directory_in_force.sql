SELECT directory FROM usher.deployment
