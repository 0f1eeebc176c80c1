"""A real servlet container, which drops path parameters: Tomcat 10 of Debian, on a loopback port.

Install it with ``apt-get install --no-install-recommends tomcat10-common default-jre-headless``.
"""

import subprocess
from pathlib import Path

import pytest

from tests.system.http_processes import free_address, listens, wait_until
from tests.system.programs import program

__all__ = ["Tomcat"]

HOME = Path("/usr/share/tomcat10")
PACKAGES = "tomcat10-common and default-jre-headless"

SERVER = """\
<Server port="-1"><Service name="Catalina">
<Connector address="127.0.0.1" port="{port}" maxKeepAliveRequests="-1" />
<Engine name="Catalina" defaultHost="localhost">
<Host name="localhost" appBase="webapps" autoDeploy="false" deployXML="false" />
</Engine></Service></Server>
"""
WEB = """\
<web-app xmlns="https://jakarta.ee/xml/ns/jakartaee" version="5.0" metadata-complete="true">
<servlet><servlet-name>default</servlet-name>
<servlet-class>org.apache.catalina.servlets.DefaultServlet</servlet-class></servlet>
<servlet-mapping><servlet-name>default</servlet-name><url-pattern>/</url-pattern></servlet-mapping>
</web-app>
"""


class Tomcat:
    """Tomcat with its default servlet, which serves these files by their path."""

    def __init__(self, folder: Path, files: dict[str, bytes]) -> None:
        self.name = free_address()
        self.folder = folder
        for path, content in files.items():
            file = folder / "webapps" / "ROOT" / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        for name in ("conf", "temp", "logs", "work"):
            (folder / name).mkdir()
        port = self.name.rpartition(":")[2]
        (folder / "conf" / "server.xml").write_text(SERVER.format(port=port))
        (folder / "conf" / "web.xml").write_text(WEB)
        self.process: subprocess.Popen[bytes] | None = None

    def run(self) -> "Tomcat":
        """Start it, or skip the test if it is not installed."""
        java = program("java", "default-jre-headless")
        if not (HOME / "bin" / "bootstrap.jar").is_file():
            pytest.skip(f"Tomcat is not installed (Debian packages {PACKAGES})")
        jars = ":".join(str(HOME / "bin" / jar) for jar in ("bootstrap.jar", "tomcat-juli.jar"))
        command = [java, "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx64m", "-cp", jars]
        command += [f"-Dcatalina.home={HOME}", f"-Dcatalina.base={self.folder}"]
        command += ["org.apache.catalina.startup.Bootstrap", "start"]
        with (self.folder / "logs" / "output").open("wb") as output:
            self.process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        wait_until(lambda: listens(self.name), f"Tomcat listens on {self.name}")
        return self

    def kill(self) -> None:
        if self.process:
            self.process.kill()
            self.process.wait(20)
