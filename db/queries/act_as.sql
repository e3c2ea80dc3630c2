-- Who the triggers of this transaction write down.
SELECT set_config('usher.actor', @actor, true)
