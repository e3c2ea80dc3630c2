SELECT usher.settled_changes()
