"""What both HTTP doors (web, api) share: the request's actor and session, the access table, the gate."""
