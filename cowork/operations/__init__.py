"""What an operator does beside the server: back up, restore, and find out what is wrong."""
