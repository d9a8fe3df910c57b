"""What stored rows say: tables, error bars, summaries, certificates, stored models."""
