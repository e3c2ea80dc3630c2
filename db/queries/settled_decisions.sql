SELECT usher.settled_decisions()
