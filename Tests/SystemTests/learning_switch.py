"""Runs os-ken's simple_switch_13, which its releases carry in their source archives only: PORT DIRECTORY-OF-APPLICATIONS."""
import sys

from os_ken import cfg
from os_ken.base import app_manager
from os_ken.lib import hub

sys.path.insert(0, sys.argv[2])
cfg.CONF(['--ofp-listen-host', '127.0.0.1', '--ofp-tcp-listen-port', sys.argv[1]], project='os_ken')
manager = app_manager.AppManager.get_instance()
manager.load_apps(['simple_switch_13', 'os_ken.controller.ofp_handler'])
contexts = manager.create_contexts()
hub.joinall(manager.instantiate_apps(**contexts))
