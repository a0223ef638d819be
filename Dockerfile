# syntax=docker/dockerfile:1
FROM python:3.13-slim-bookworm AS build
WORKDIR /src
COPY requirements/image.txt requirements/image.txt
RUN python -m venv /opt/alert-router \
 && /opt/alert-router/bin/pip install --no-cache-dir --require-hashes --requirement requirements/image.txt
COPY . .
RUN /opt/alert-router/bin/pip install --no-cache-dir --no-deps --no-build-isolation .

FROM python:3.13-slim-bookworm
COPY --from=build /opt/alert-router /opt/alert-router
COPY routes.yaml /etc/alert-router/routes.yaml
RUN useradd --system --uid 10001 --no-create-home alert-router \
 && install -d -o alert-router -g alert-router /var/lib/alert-router
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
# The router writes only to this folder, so the root file system can be read-only.
VOLUME /var/lib/alert-router
USER 10001
EXPOSE 9099
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s \
  CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:9099/healthz', timeout=2)"]
ENTRYPOINT ["alert-router"]
CMD ["serve"]
