FROM python:3.11-slim

# The user id of the eclipse-mosquitto image, so that the broker may read what `python -m mosquitto` writes for it.
RUN useradd --uid 1883 --user-group --create-home tcu \
    && install -d -o tcu -g tcu -m 0700 /pki /broker

WORKDIR /srv/tcu
COPY requirements.lock ./
RUN pip install --no-cache-dir --require-hashes -r requirements.lock
COPY --chown=root:root . .

USER tcu
ENV PYTHONUNBUFFERED=1
