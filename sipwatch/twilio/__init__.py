"""What Twilio reports, and what becomes of the calls that it asks about."""
