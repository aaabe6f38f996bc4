"""What Twilio says of calls and registrations, and what its account is set to."""
