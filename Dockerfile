# The server of OneShot: web, workers and scheduler are this one image with different commands.
FROM python:3.13-slim
RUN apt-get update && apt-get install -y --no-install-recommends git bubblewrap && rm -rf /var/lib/apt/lists/*
WORKDIR /app
COPY . .
RUN pip install --no-cache-dir -c constraints.txt -e '.[postgres]'
ENV ONESHOT_DATA_DIR=/data PYTHONUNBUFFERED=1
VOLUME /data
EXPOSE 8000
CMD ["granian", "--interface", "wsgi", "--host", "0.0.0.0", "--port", "8000", "--workers", "2", \
     "--blocking-threads", "8", "--workers-kill-timeout", "3", "--no-ws", "oneshot.wsgi:application"]
