"""What hidden states hold: probes on episodes that they were not fitted on, likeness to a teacher and between layers, pictures."""
