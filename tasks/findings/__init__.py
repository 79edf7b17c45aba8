"""What should not be in a task: secrets, personal data, the answer in the instructions, a missing licence."""
