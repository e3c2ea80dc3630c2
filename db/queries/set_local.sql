-- Sets a parameter until the transaction ends.
SELECT set_config(@name, @value, true)
