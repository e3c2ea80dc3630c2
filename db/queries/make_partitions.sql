SELECT made, in_default FROM usher.make_decision_partitions()
