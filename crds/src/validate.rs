//! A manifest checked as the API server would: the CRD's types and limits, then its CEL rules.
