"""One function, or one class where there is a life, per thing a user does."""
