# The operator: one static program and nothing else, for there is nothing else to patch.
FROM scratch
LABEL org.opencontainers.image.title="mapreduce-operator" \
      org.opencontainers.image.source="https://github.com/mapreduce-dev/mapreduce-operator" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY mapreduce-operator /mapreduce-operator
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["/mapreduce-operator"]
