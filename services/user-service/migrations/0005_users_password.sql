-- The hash of the password as a PHC text (Argon2id, with its parameters and salt); NULL for who cannot sign in.
ALTER TABLE users ADD COLUMN password VARCHAR(255);
