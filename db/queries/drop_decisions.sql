SELECT rows, first_id, last_id, staying FROM usher.drop_decisions(@month, @tries)
