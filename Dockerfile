# One image for the web pods and the workers; which of the two it is, the command says.
#
#   web       the default below
#   worker    celery -A workers.app worker -P threads -c 4 -Q tasks.openai \
#             --without-gossip --without-mingle --without-heartbeat -l WARNING
#
# Writes nothing but under /tmp, so it runs with a read-only root and an emptyDir there.

FROM python:3.11-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /venv
WORKDIR /gateway
COPY requirements.image.lock ./
RUN /venv/bin/pip install --no-deps --require-hashes -r requirements.image.lock
COPY . .
RUN /venv/bin/pip install --no-deps --no-build-isolation --editable . \
    && /venv/bin/python -m compileall -q /gateway

FROM python:3.11-slim
RUN useradd --uid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin gateway
COPY --from=build /venv /venv
COPY --from=build /gateway /gateway
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    GATEWAY_METRICS_HOST=0.0.0.0 GATEWAY_METRICS_PORT=9090
WORKDIR /gateway
USER 10001:10001
EXPOSE 8080 9090
STOPSIGNAL SIGTERM
CMD ["gunicorn", "-c", "web/gunicorn.py", "--bind", "0.0.0.0:8080", "web.app:create_app()"]
