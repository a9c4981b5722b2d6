"""Training: objectives, the joint space, the students, the recipes."""
