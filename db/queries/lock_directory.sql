-- The directory in force. Two who change it do so one after the other.
SELECT directory FROM usher.deployment FOR UPDATE
