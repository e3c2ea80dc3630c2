UPDATE usher.deployment SET directory = @name
