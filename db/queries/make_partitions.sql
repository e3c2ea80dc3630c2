SELECT usher.make_decision_partitions()
