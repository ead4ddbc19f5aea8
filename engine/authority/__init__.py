"""The certification authority as both businesses use it: its certificates, its token, its signatures."""
