"""`trackops demo`: real orders through every service, and a check of every trace they leave."""
