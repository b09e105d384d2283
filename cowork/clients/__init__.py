"""The upstream's two services, the Chat API and the XO login; nobody else knows `requests`."""
