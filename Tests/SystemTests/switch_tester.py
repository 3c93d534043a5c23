"""Runs the OpenFlow switch tester that os-ken ships, for OpenFlow 1.3: PORT DIRECTORY-OF-TESTS."""
import logging
import sys

import os_ken.flags  # registers the tester's options
import os_ken.log  # registers log_file, which it asks for
from os_ken import cfg
from os_ken.base import app_manager
from os_ken.lib import hub

logging.basicConfig(level=logging.INFO)
cfg.CONF(['--ofp-listen-host', '127.0.0.1', '--ofp-tcp-listen-port', sys.argv[1], '--test-switch-dir', sys.argv[2]],
         project='os_ken')
manager = app_manager.AppManager.get_instance()
manager.load_apps(['os_ken.tests.switch.tester', 'os_ken.controller.ofp_handler'])
contexts = manager.create_contexts()
hub.joinall(manager.instantiate_apps(**contexts))
