SELECT directory = 'usher' FROM usher.deployment
