"""What any server needs of threads, descriptors, users and bounds; it knows nothing of turns."""
