"""What the inbox is put through: senders, killed processes, a broker that is gone, a million rows."""
