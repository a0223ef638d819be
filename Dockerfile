# The base by version; `make image-pins` adds its digest, where a registry is reachable.
FROM python:3.13-slim-bookworm AS build
WORKDIR /src
COPY deploy/image/install deploy/image/install
COPY requirements/image.txt requirements/image.txt
RUN deploy/image/install dependencies /opt/alert-router
COPY . .
RUN deploy/image/install router /opt/alert-router

FROM python:3.13-slim-bookworm
LABEL org.opencontainers.image.title="alert-router" \
      org.opencontainers.image.description="Delivers the alerts of Prometheus Alertmanager, and loses none" \
      org.opencontainers.image.licenses="Apache-2.0"
# The group is 10001 as well, so that Kubernetes' fsGroup and the owner of a volume can be given as numbers.
RUN groupadd --system --gid 10001 alert-router \
 && useradd --system --uid 10001 --gid 10001 --no-create-home --shell /usr/sbin/nologin alert-router \
 && install -d -o alert-router -g alert-router -m 0700 /var/lib/alert-router /var/backups/alert-router
COPY --from=build /opt/alert-router /opt/alert-router
COPY routes.yaml /etc/alert-router/routes.yaml
ENV PATH=/opt/alert-router/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    ALERT_ROUTER_CONFIG=/etc/alert-router/routes.yaml \
    ALERT_ROUTER_DATABASE=sqlite:////var/lib/alert-router/router.db \
    ALERT_ROUTER_LISTEN=0.0.0.0:9099 \
    ALERT_ROUTER_LOG=json
# Other machines can reach this address, so a first `docker run` ends with exit code 1 and says what to add: routes.yaml above
# has no users. To look around without any, let everybody in (nothing is sent):
#   docker run --rm -p 127.0.0.1:9099:9099 IMAGE serve --preview --sample --open
# For use, mount a folder with a routes.yaml that has `users:`, whose passwords this makes:
#   docker run --rm -it IMAGE hash-password
#   docker run -p 9099:9099 -v "$PWD:/etc/alert-router:ro" -v alert-router:/var/lib/alert-router IMAGE
# docs/deploying.md has more. The router writes only to this folder, so the root file system can be read-only. (A preview also
# needs /tmp; backups go to where ALERT_ROUTER_BACKUP_TO says: a volume at /var/backups/alert-router belongs to the user below.)
VOLUME /var/lib/alert-router
WORKDIR /var/lib/alert-router
USER 10001:10001
EXPOSE 9099
# It follows ALERT_ROUTER_LISTEN and ALERT_ROUTER_TLS_CERT. The first start after an upgrade may migrate the database for
# minutes; a failure in that time does not count.
HEALTHCHECK --interval=10s --timeout=5s --start-period=10m \
  CMD ["alert-router", "healthcheck"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["alert-router"]
CMD ["serve"]
