# The worker: one static program, and the authorities that TLS to a bucket is checked against.
# A server of one's own authority: mount its certificate and set SSL_CERT_FILE, see docs/operations.md.
FROM scratch
LABEL org.opencontainers.image.title="mapreduce-worker" \
      org.opencontainers.image.source="https://github.com/mapreduce-dev/mapreduce-operator" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY mapreduce-worker /mapreduce-worker
USER 65532:65532
ENTRYPOINT ["/mapreduce-worker"]
