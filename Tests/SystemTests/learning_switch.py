# A learning switch over OpenFlow 1.3 as an os-ken application: what a table miss sends up teaches it addresses, and
# packets between known addresses get a flow of their own. Arguments: the TCP port to listen on.
import sys

from os_ken import cfg
from os_ken.base import app_manager
from os_ken.controller import ofp_event
from os_ken.controller.handler import CONFIG_DISPATCHER, MAIN_DISPATCHER, set_ev_cls
from os_ken.lib.packet import ether_types, ethernet, packet
from os_ken.ofproto import ofproto_v1_3


class LearningSwitch(app_manager.OSKenApp):
    OFP_VERSIONS = [ofproto_v1_3.OFP_VERSION]

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.ports = {}

    def add_flow(self, datapath, priority, match, actions, buffer_id=None):
        proto, parser = datapath.ofproto, datapath.ofproto_parser
        instructions = [parser.OFPInstructionActions(proto.OFPIT_APPLY_ACTIONS, actions)]
        datapath.send_msg(parser.OFPFlowMod(
            datapath=datapath, priority=priority, match=match, instructions=instructions,
            buffer_id=proto.OFP_NO_BUFFER if buffer_id is None else buffer_id))

    @set_ev_cls(ofp_event.EventOFPSwitchFeatures, CONFIG_DISPATCHER)
    def connected(self, event):
        datapath = event.msg.datapath
        proto, parser = datapath.ofproto, datapath.ofproto_parser
        self.add_flow(
            datapath, 0, parser.OFPMatch(), [parser.OFPActionOutput(proto.OFPP_CONTROLLER, proto.OFPCML_NO_BUFFER)])

    @set_ev_cls(ofp_event.EventOFPPacketIn, MAIN_DISPATCHER)
    def packet_in(self, event):
        message = event.msg
        datapath = message.datapath
        proto, parser = datapath.ofproto, datapath.ofproto_parser
        in_port = message.match['in_port']
        header = packet.Packet(message.data).get_protocol(ethernet.ethernet)
        if header.ethertype == ether_types.ETH_TYPE_LLDP:
            return
        known = self.ports.setdefault(datapath.id, {})
        known[header.src] = in_port
        out_port = known.get(header.dst, proto.OFPP_FLOOD)
        actions = [parser.OFPActionOutput(out_port)]
        if out_port != proto.OFPP_FLOOD:
            match = parser.OFPMatch(in_port=in_port, eth_src=header.src, eth_dst=header.dst)
            self.add_flow(datapath, 1, match, actions)
        datapath.send_msg(parser.OFPPacketOut(
            datapath=datapath, buffer_id=message.buffer_id, in_port=in_port, actions=actions,
            data=message.data if message.buffer_id == proto.OFP_NO_BUFFER else None))


if __name__ == '__main__':
    from os_ken.lib import hub
    cfg.CONF(['--ofp-listen-host', '127.0.0.1', '--ofp-tcp-listen-port', sys.argv[1]], project='os_ken')
    manager = app_manager.AppManager.get_instance()
    manager.applications_cls['LearningSwitch'] = LearningSwitch
    manager.load_apps(['os_ken.controller.ofp_handler'])
    contexts = manager.create_contexts()
    hub.joinall(manager.instantiate_apps(**contexts))
